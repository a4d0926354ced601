# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Verifiers of passwords, as PostgreSQL makes them."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.postgresql.scram import (
    is_verifier_of,
    keys,
    prepared,
    verifier,
)

PASSWORD = "hunter2hunter2"  # noqa: S105


def test_the_exchange_of_rfc_7677_fits_the_keys():
    stored, server = keys("pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    both = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={both},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={both}".encode()
    assert hmac.digest(server, message, "sha256") == b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    proof = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client = bytes(one ^ other for one, other in zip(proof, hmac.digest(stored, message, "sha256"), strict=True))
    assert hashlib.sha256(client).digest() == stored


@pytest.mark.parametrize(
    ("password", "wanted"),
    [
        ("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"),  # RFC 4013, section 3
        ("a\u00a0b", "a b"), ("a\u200bb", "ab"),
        # What it refuses, and what it leaves nothing of, PostgreSQL takes as it is.
        ("\u0007\u00aa", "\u0007\u00aa"), ("\u0627\u0031", "\u0627\u0031"), ("\u00ad", "\u00ad"), ("\u0221x", "\u0221x"),
        ("\u0627\u0628", "\u0627\u0628"),
    ],
)  # fmt: skip
def test_passwords_are_prepared_as_rfc_4013_says(password, wanted):
    assert prepared(password) == wanted


def test_a_verifier_is_one_of_its_password_and_the_same_in_each_run():
    text = verifier(PASSWORD, "utmstack")
    assert text == verifier(PASSWORD, "utmstack")
    assert is_verifier_of(text, PASSWORD)
    assert not is_verifier_of(text, "hunter3hunter3")
    assert PASSWORD not in text
    # Two users with one password are not seen to have one.
    assert len({part for user in ("a", "b") for part in verifier(PASSWORD, user).split(":", 1)[1].split("$")}) == 4


def test_a_verifier_stays_what_it_is():
    text = verifier(PASSWORD, "utmstack")
    assert verifier(text, "somebody") == text


def test_other_hashes_are_no_verifiers():
    assert not is_verifier_of("md5d41d8cd98f00b204e9800998ecf8427e", PASSWORD)
    assert not is_verifier_of("", PASSWORD)
