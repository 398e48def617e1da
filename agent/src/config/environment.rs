use zeroize::Zeroizing;

/// The variables of the environment that stand for settings, captured once at the edge of the
/// program. They give what no file sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Proxy for HTTPS: `HTTPS_PROXY` or `https_proxy`.
    pub(super) https_proxy: Option<Variable>,
    /// What is reached without it: `NO_PROXY` or `no_proxy`.
    pub(super) no_proxy: Option<Variable>,
    /// Trusted roots instead of the system's: `SSL_CERT_FILE`.
    pub(super) ssl_cert_file: Option<Variable>,
    /// Where the metadata service is, which is looked at for plain HTTP alone: `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub(super) metadata_endpoint: Option<Variable>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    /// A proxy's address can hold a password: wiped when dropped.
    pub(super) value: Zeroizing<String>,
}

/// A proxy's address can hold a password.
impl std::fmt::Debug for Variable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}

impl Environment {
    /// Asks `variable` for each name; an empty value counts as none.
    pub fn capture(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = Zeroizing::new(Zeroizing::new(variable(name)?).trim().to_owned());
                (!value.is_empty()).then_some(Variable { name, value })
            })
        };
        Self {
            https_proxy: first(&["HTTPS_PROXY", "https_proxy"]),
            no_proxy: first(&["NO_PROXY", "no_proxy"]),
            ssl_cert_file: first(&["SSL_CERT_FILE"]),
            metadata_endpoint: first(&["AWS_EC2_METADATA_SERVICE_ENDPOINT"]),
        }
    }
}
