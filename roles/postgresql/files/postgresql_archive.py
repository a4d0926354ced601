#!/usr/bin/python3
# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""postgresql_archive.py SETTINGS: one look after the WAL archive of this member, by a timer every ten seconds.

What it does says postgresql/archive.py of the modules. Ends with 0 when all is well or no server runs here, 1 when something is not, which it
says on standard error, 2 when its settings cannot be used. What it found is in the file `state` of its settings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))

from utmstack_ha.common.command import run  # noqa: E402
from utmstack_ha.postgresql import archive  # noqa: E402


def main() -> int:
    try:
        settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    except (IndexError, OSError, ValueError) as error:
        print(f"The settings cannot be used: {error}", file=sys.stderr)
        return 2
    wrong = archive.main(settings, run)
    if wrong:
        print(wrong, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
