"""`python -m rlhf_sdk.contract`: a list of requests (JSON) on stdin, a finding on each line of stdout."""

from __future__ import annotations

import os
import sys

import msgspec

from rlhf_sdk.contract.finding import Request
from rlhf_sdk.contract.kit import findings
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_UMASK
from rlhf_sdk.trainer import UserError


def main() -> int:
    os.umask(PRIVATE_UMASK)
    requests = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Request])
    try:
        for request in requests:
            for finding in findings(request):
                print(msgspec.json.encode(finding).decode(), flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return ExitCode.USER_ERROR
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
