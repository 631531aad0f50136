"""Proxy variables that break whatever goes through them."""

from tests.local.aws.local_aws import free_port


def dead_proxies() -> dict[str, str]:
    """Every proxy variable, with an address where nothing listens."""
    address = f"http://127.0.0.1:{free_port()}"
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    return dict.fromkeys(names, address)
