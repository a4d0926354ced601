# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates made here by the real library, judged by the code that the role uses."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.certificates import (
    certificate_faults,
    foreign_authority,
    public_key,
    subject_alt_names,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
NAMES = ("node1", "10.0.1.11", "10.0.1.100")


def _key():
    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _public(key):
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def _certificate(subject, key, issuer, issuer_key, names=(), days=400):
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + days * DAY)
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


CA_KEY, OTHER_KEY, HOST_KEY = _key(), _key(), _key()
CA = _certificate("ours", CA_KEY, "ours", CA_KEY)
OTHER_CA = _certificate("theirs", OTHER_KEY, "theirs", OTHER_KEY)
HOST = _certificate("node1", HOST_KEY, "ours", CA_KEY, NAMES)


def _judge(pem, key=HOST_KEY, authority=CA, names=NAMES, days=45):
    return certificate_faults(pem, _public(key) if key else "", _pem(authority), names, days, now=NOW)


def test_a_certificate_that_serves_has_no_faults():
    assert _judge(_pem(CA) + _pem(HOST)) == []


@pytest.mark.parametrize(
    ("pem", "key", "days", "fault"),
    [
        ("", None, 45, "has no certificate"),
        (_pem(HOST), HOST_KEY, 45, "does not have the certificate authority's"),
        (_pem(CA) + _pem(HOST), None, 45, "has no private key"),
        (_pem(CA) + _pem(HOST), OTHER_KEY, 45, "does not belong to the host's private key"),
        (_pem(CA) + _pem(HOST), HOST_KEY, 401, "ends in 400 days, on 2027-02-05"),
        (_pem(CA) + _pem(_certificate("node1", HOST_KEY, "theirs", OTHER_KEY, NAMES)), HOST_KEY, 45, "not issued by"),
        (_pem(CA) + _pem(_certificate("node1", HOST_KEY, "ours", OTHER_KEY, NAMES)), HOST_KEY, 45, "not issued by"),
        (_pem(CA) + _pem(_certificate("node1", HOST_KEY, "ours", CA_KEY, NAMES[:2])), HOST_KEY, 45, "lacks 10.0.1.100"),
    ],
)
def test_every_fault_of_a_certificate_is_named(pem, key, days, fault):
    assert any(fault in said for said in _judge(pem, key=key, days=days))


def test_a_certificate_from_an_intermediate_authority_serves():
    middle_key = _key()
    middle = _certificate("middle", middle_key, "ours", CA_KEY)
    leaf = _certificate("node1", HOST_KEY, "middle", middle_key, NAMES)
    assert _judge(_pem(CA) + _pem(leaf) + _pem(middle)) == []


def test_a_host_of_another_cluster_is_recognised_and_a_new_host_is_not_mistaken_for_one():
    assert foreign_authority("", _pem(CA)) == ""
    assert foreign_authority(_pem(CA) + _pem(HOST), _pem(CA)) == ""
    assert foreign_authority(_pem(OTHER_CA), _pem(CA)).startswith("CN=theirs, made 2025-12-31")
    assert foreign_authority(_pem(CA), "").startswith("CN=ours")


def test_the_public_half_is_read_from_a_private_key():
    private = HOST_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    assert public_key(private) == _public(HOST_KEY)


def test_names_and_addresses_get_their_kind():
    assert subject_alt_names(["node1", "10.0.1.11", "fd00::1"]) == ["DNS:node1", "IP:10.0.1.11", "IP:fd00::1"]
