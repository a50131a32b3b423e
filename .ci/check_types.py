"""Check that type checkers see the types of nearly everything public: `python .ci/check_types.py`.

pyright must be installed, and the package itself from its wheel.
"""

from __future__ import annotations

import json
import subprocess
import sys

LEAST = 0.98


def main() -> int:
    """Print how complete the types are, and what lacks one; return 1 if that is too much."""
    command = ["pyright", "--verifytypes", "chainrule", "--ignoreexternal", "--outputjson"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)["typeCompleteness"]
    score = found["completenessScore"]
    print(f"{score:.1%} of the public symbols have a known type; expected {LEAST:.0%}")
    if score >= LEAST:
        return 0
    for symbol in found["symbols"]:
        if symbol["isExported"] and not symbol["isTypeKnown"]:
            print(symbol["name"])
    return 1


if __name__ == "__main__":
    sys.exit(main())
