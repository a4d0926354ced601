#!/usr/bin/python3
# Written by the role utmstack.ha.backup.
"""backup.py KIND take|verify|expire, backup.py all guard: takes, verifies, removes and watches backups, by the settings in backup.json."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "python"))

from utmstack_ha.backup import program

if __name__ == "__main__":
    sys.exit(program.main(sys.argv[1:]))
