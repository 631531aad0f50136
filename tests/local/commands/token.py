"""python3 -m tests.local token [USER_ID]: a session token of the simulated Clerk, for curl."""

import argparse

from tests.local.clerk.fake_users import make_user
from tests.local.clerk.session_tokens import session_token
from tests.local.commands.kept import local_issuer


def main(options: argparse.Namespace) -> int:
    print(session_token(options.user_id or make_user(0)["id"], local_issuer()))
    return 0
