"""AWS's own Python SDK: botocore, or the copy of it that the AWS command line carries."""

try:
    import botocore
except ImportError:
    # The command line answers to that name for the copy that it carries, once it is imported itself.
    import awscli  # noqa: F401
    import botocore

from botocore import auth, awsrequest, config, credentials, exceptions, session

__all__ = ["VERSION", "auth", "awsrequest", "client", "credentials", "exceptions"]

VERSION = botocore.__version__


def client(service, endpoint, key, ca_file, region="us-east-1", addressing="path"):
    """A client of one AWS service at an endpoint of one's own; `key` is (id, secret)."""
    own = session.Session()
    # Nothing of the person who runs the tests counts: neither profiles nor environment.
    own.set_config_variable("config_file", "/dev/null")
    own.set_config_variable("credentials_file", "/dev/null")
    return own.create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        verify=str(ca_file),
        config=config.Config(
            retries={"total_max_attempts": 1},
            s3={"addressing_style": addressing},
            proxies={},
            connect_timeout=10,
            read_timeout=90,
        ),
    )
