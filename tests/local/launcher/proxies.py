"""The proxy variables of the environment, which every tool and every local function reads.

Imported before anything is installed: standard library only, and any recent Python 3.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping

THIS_MACHINE = "127.0.0.1,localhost"


def reach_this_machine_directly(environment: MutableMapping[str, str]) -> None:
    """Where a proxy is set, exclude this machine from it: the local AWS and the simulated Clerk are here.

    SOCKS proxies are removed, and that is printed: pip can't use one, and httpx fails on every request.
    """
    proxies = proxy_variables(environment)
    for name in proxies:
        if environment[name].lower().startswith("socks"):
            print(f"{name} is ignored: SOCKS proxies are not supported here.", file=sys.stderr)
            del environment[name]
    # `no_proxy` alone would turn off the proxy of macOS's own settings.
    if proxies:
        excluded = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        hosts = excluded if excluded.strip() == "*" else ",".join(filter(None, [excluded, THIS_MACHINE]))
        environment.update(no_proxy=hosts, NO_PROXY=hosts)  # some tools read only the one, some the other


def proxy_variables(environment: Mapping[str, str]) -> list[str]:
    """The names of the variables that set a proxy."""
    return [name for name in environment if name.lower().endswith("_proxy") and name.lower() != "no_proxy"]
