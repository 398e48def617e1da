# Installing packages of the distribution.

# Installs those of the packages that are not there yet.
install_packages() {
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    if [ -z "$missing" ]; then
        echo "there already: $*"
        return 0
    fi
    # Lists of packages can be as old as the machine's image, so they are fetched where the first attempt fails.
    # shellcheck disable=SC2086 # a list of names
    apt_install $missing || { apt-get update -q && apt_install $missing; }
}

is_installed() {
    status=$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null) && [ "$status" = installed ]
}

# Nobody is asked anything, files that somebody edited stay, and another apt is waited for.
apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
        -o DPkg::Lock::Timeout=120 -o DPkg::Options::=--force-confold "$@"
}
