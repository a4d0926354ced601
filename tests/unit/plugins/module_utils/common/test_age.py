# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which public keys are taken, and what the header of a sealed text says; keys that age-keygen and ssh-keygen have made."""

from __future__ import annotations

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common import age

X25519 = "age1pyfwgntuvvhzmqc9ed7ayvd56x3uqn68pelyvkt9s2ny7l20vd9sn3shpt"
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO0IUajkx6RTXZTn/t/z1Q8k8qy607C0WIaQxKkPyl/M operator@desk"
# What age 1.1.1 wrote for that SSH key and an age1 key.
SEALED = age.armored(
    b"age-encryption.org/v1\n-> X25519 npseazAr6huLzFboHKtMhRsnwpjCCwX/AZfFrf7T7F4\nabc\n"
    b"-> ssh-ed25519 0L/dUg pc7t4ivoR1+9jo7gm4cHtJqkCTAtsUg2yA6aSR1FKDs\nabc\n--- mac\nbody"
)


@pytest.mark.parametrize("recipient", [X25519, SSH, f"{X25519}\n"])
def test_public_keys_of_age_and_of_ssh_are_taken(recipient):
    assert age.fault(recipient) == ()


@pytest.mark.parametrize(
    ("recipient", "said"),
    [
        (X25519[:-1] + "q", "is no whole age1… key"),
        (X25519.replace("pyfw", "pfyw"), "is no whole age1… key"),
        ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "one of a plugin"),
        ("AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ", "is a PRIVATE key"),
        (SSH.replace("AAAAIO0I", "AAAA"), "is no whole ssh-ed25519 key"),
        ("ssh-ed25519 ", "is no whole ssh-ed25519 key"),
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ", "is ssh-rsa"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----", "is no public key of age"),
        (17, "is no text"),
    ],
)
def test_other_keys_are_refused_with_the_remedy(recipient, said):
    what, remedy = age.fault(recipient)
    assert said in what
    assert "age-keygen" in remedy


def test_the_header_names_who_can_open_it():
    assert age.missing(SEALED, [X25519, SSH]) == []
    assert age.missing(SEALED, [X25519, X25519, SSH]) == [X25519]
    assert age.missing(SEALED, [SSH.replace("Pyl/M", "PyL/M")]) != []


def test_what_is_not_sealed_has_no_header():
    with pytest.raises(age.AgeError, match="not a whole file"):
        age.header(SEALED[:-10])
    with pytest.raises(age.AgeError, match="does not begin"):
        age.header(age.armored(b"x" * 100))
