#!/usr/bin/python3
# Written by the role utmstack.ha.swarm.
"""Gives a backup host, whose connection is the standard input, the state of this manager, by the settings in swarm-state.json."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "python"))

from utmstack_ha.swarm import give

if __name__ == "__main__":
    sys.exit(give.main())
