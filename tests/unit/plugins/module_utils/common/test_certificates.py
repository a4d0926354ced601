# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates made here by the real library, judged by the code that the role uses."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.common.certificates import (
    certificate_faults,
    foreign_authority,
    key_fault,
    public_key,
    served_faults,
    subject_alt_names,
)
from ansible_collections.utmstack.ha.plugins.module_utils.topology.build import build
from ansible_collections.utmstack.ha.plugins.module_utils.topology.faults import TopologyError
from ansible_collections.utmstack.ha.plugins.module_utils.topology.settings import Inventory
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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


def _certificate(subject, key, issuer, issuer_key, names=(), days=400, authority=None):
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
        .add_extension(
            x509.BasicConstraints(ca=not names if authority is None else authority, path_length=None), critical=True
        )
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


def _for(usages=None, key_usage=None, names=NAMES, key=HOST_KEY, **validity):
    """A host's certificate of our CA, with extensions as a user's own CA may set them."""
    begin, end = validity.get("begin", -1), validity.get("end", 400)
    issuer, issuer_key = validity.get("issuer", CA), validity.get("issuer_key", CA_KEY)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node1")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begin * DAY)
        .not_valid_after(NOW + end * DAY)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
                    for name in names
                ]
            ),
            critical=False,
        )
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if key_usage is not None:
        wanted = dict.fromkeys(KEY_USAGES, False) | dict.fromkeys(key_usage, True)
        builder = builder.add_extension(x509.KeyUsage(**wanted), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


KEY_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
    "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.mark.parametrize(
    ("certificate", "fault"),
    [
        (_for([SERVER]), "extended key usage lacks clientAuth"),
        (_for([CLIENT]), "extended key usage lacks serverAuth"),
        (_for([ExtendedKeyUsageOID.CODE_SIGNING]), "lacks serverAuth and clientAuth"),
        (_for(key_usage=["key_encipherment"]), "key usage lacks digitalSignature"),
        (_for(begin=1), "is valid from 2026-01-02 00:00 UTC only"),
        (_for(begin=-9, end=-3), "ended on 2025-12-29"),
        (_for(names=["node2", "*.org", *NAMES[1:]]), "lacks node1"),
    ],
)
def test_own_certificates_that_peers_would_refuse_are_found(certificate, fault):
    (told,) = _judge(_pem(CA) + _pem(certificate), days=0)
    assert fault in told


@pytest.mark.parametrize(
    "certificate",
    [
        _for([SERVER, CLIENT], ["digital_signature"]),
        _for([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
        _for(),
        _for(names=["*.example.org", "NODE1", *NAMES[1:]]),
    ],
)
def test_own_certificates_that_serve_are_taken(certificate):
    assert _judge(_pem(CA) + _pem(certificate), days=0) == []


def test_a_wildcard_stands_for_one_label():
    certificate = _for(names=["*.example.org"])
    assert _judge(_pem(CA) + _pem(certificate), names=["node1.example.org"], days=0) == []
    assert "lacks a.b.example.org" in _judge(_pem(CA) + _pem(certificate), names=["a.b.example.org"], days=0)[0]


def test_a_ca_that_ended_is_found():
    old = _certificate("ours", CA_KEY, "ours", CA_KEY, days=-0.5)
    assert "the CA certificate CN=ours ended on 2025-12-31" in _judge(_pem(old) + _pem(_for()), authority=old, days=0)
    unused = _certificate("former", OTHER_KEY, "former", OTHER_KEY, days=-0.5)
    assert _judge(_pem(unused) + _pem(CA) + _pem(_for()), days=0) == []


def _private(key=HOST_KEY, password=None):
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (_private(password=b"open sesame"), "is encrypted, and services start without anybody"),
        ("", "there is no private key in PEM"),
        (_pem(HOST), "there is no private key in PEM"),
        (_private().replace("M", "N"), "can't be read"),
    ],
)
def test_a_key_that_nobody_could_use_is_told_clearly(text, why):
    with pytest.raises(ValueError, match=why):
        public_key(text)


def test_what_haproxy_serves_needs_no_client_usage_but_its_own_key():
    assert served_faults(_pem(_for([SERVER])) + _pem(CA) + _private(), now=NOW) == []
    assert served_faults(_pem(_for([CLIENT])) + _private(), now=NOW) == [
        "the certificate's extended key usage lacks serverAuth"
    ]
    assert served_faults(_pem(_for()) + _private(OTHER_KEY), now=NOW) == [
        "the certificate does not belong to the private key"
    ]
    assert served_faults(_pem(CA) + _pem(_for()) + _private(), now=NOW) == [
        "the host's own certificate is not the first one, which services present"
    ]
    assert served_faults(_pem(_for()), now=NOW) == ["there is no private key in PEM"]
    assert served_faults(_private(), now=NOW) == ["it has no certificate of a server"]


# In the one list of the topology. Certificates are valid now, since it judges by the present.
HOSTS = {f"node{number}": f"10.0.1.1{number}" for number in (1, 2, 3)}
DAYS = (datetime.datetime.now(datetime.UTC) - NOW).days


def _topology_faults(files, more_groups=None, **variables):
    common = {
        "tls_source": "files",
        "tls_ca_file": "/ca",
        "tls_certificate_file": "/crt",
        "tls_private_key_file": "/key",
    }
    hosts = {name: {"ansible_host": address, **common, **variables} for name, address in HOSTS.items()}
    groups = {group: list(HOSTS) for group in ("loadbalancer", "etcd", "postgresql")} | (more_groups or {})
    inventory = Inventory(groups, hosts, files={name: files for name in HOSTS})
    try:
        build(inventory, {"ha_vip": "10.0.1.100"})
    except TopologyError as error:
        return [str(fault) for fault in error.faults]
    return []


INTERMEDIATE_KEY = _key()
INTERMEDIATE = _certificate("between", INTERMEDIATE_KEY, "ours", CA_KEY, days=DAYS + 9)


def _files_certificate(issuer=CA, issuer_key=CA_KEY, key=HOST_KEY):
    names = [*HOSTS, *HOSTS.values(), "10.0.1.100"]
    return _pem(
        _for([SERVER, CLIENT], names=names, key=key, issuer=issuer, issuer_key=issuer_key, begin=DAYS - 1, end=DAYS + 9)
    )


def _files(**changes):
    authority = _certificate("ours", CA_KEY, "ours", CA_KEY, days=DAYS + 9)
    return {
        "tls_ca_file": _pem(authority),
        "tls_certificate_file": _files_certificate(),
        "tls_private_key_file": _private(),
        **changes,
    }


def test_own_files_that_serve_all_hosts_are_taken():
    assert _topology_faults(_files()) == []


def test_between_postgresql_and_backup_hosts_the_common_name_is_the_hosts_own():
    """pgBackRest lets clients in by it; nothing else looks at it, so without backup hosts it may be any."""
    told = [fault for fault in _topology_faults(_files(), {"backup": ["node1"]}) if "common name" in fault]
    assert [fault.split(": ")[0] for fault in told] == ["host node2", "host node3"]
    assert "its common name (CN) is node1, not node2. Give one whose CN is the host's name" in told[0]
    assert _topology_faults(_files(), {"monitoring": ["node1"]}) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tls_private_key_file": _private(password=b"x")}, "group all: tls_private_key_file can't be used: the private key is encrypted"),
        ({"tls_private_key_file": _private(OTHER_KEY)}, "does not belong to the host's private key"),
        ({"tls_ca_file": _pem(OTHER_CA)}, "was not issued by this certificate authority"),
        ({"tls_ca_file": "nothing"}, "group all: tls_ca_file can't be used: it has no certificate in PEM; `openssl x509 -inform der"),
        ({"tls_certificate_file": "\x30\x82"}, "group all: tls_certificate_file can't be used: it has no certificate in PEM"),
        ({"tls_certificate_file": "\ufeff" + _files_certificate()}, "tls_certificate_file can't be used: it has no certificate in PEM"),
        ({"tls_certificate_file": _pem(INTERMEDIATE) + _files_certificate()}, "own certificate is not the first one, which services present. Put"),
        ({"tls_ca_file": _pem(INTERMEDIATE), "tls_certificate_file": _files_certificate(INTERMEDIATE, INTERMEDIATE_KEY)},
         "tls_ca_file can't be used: it has CN=between without the authority that issued it, CN=ours. Add the certificates up to the root"),
        ({"tls_certificate_file": OSError(2, "No such file")}, "tls_certificate_file is /crt, which can't be read on the controller: No such"),
        ({"tls_certificate_file": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "file can't be used: a certificate can't be read"),
        (
            {"tls_certificate_file": _pem(_for([SERVER], names=[*HOSTS, *HOSTS.values(), "10.0.1.100"], begin=DAYS - 1, end=DAYS + 9))},
            "group all: tls_certificate_file can't be used: the certificate's extended key usage lacks clientAuth",
        ),
    ],
)  # fmt: skip
def test_own_files_that_do_not_serve_are_in_the_one_list(change, told):
    (fault,) = _topology_faults(_files(**change))
    assert told in fault


def test_a_chain_behind_the_certificate_or_in_the_file_of_the_ca_is_taken():
    own = _files_certificate(INTERMEDIATE, INTERMEDIATE_KEY)
    root = _files()["tls_ca_file"]
    assert _topology_faults(_files(tls_certificate_file=own + _pem(INTERMEDIATE))) == []
    assert _topology_faults(_files(tls_certificate_file=own + _pem(INTERMEDIATE) + root)) == []
    assert _topology_faults(_files(tls_certificate_file=own, tls_ca_file=_pem(INTERMEDIATE) + root)) == []
    crossed = _pem(_certificate("ours", CA_KEY, "theirs", OTHER_KEY, days=DAYS + 9))
    assert _topology_faults(_files(tls_ca_file=crossed + root)) == []
    assert (
        _topology_faults(_files(tls_ca_file=root + _pem(_certificate("unused", HOST_KEY, "theirs", OTHER_KEY)))) == []
    )
    windows = {name: text.replace("\n", "\r\n") for name, text in _files().items()}
    assert _topology_faults(windows) == []


def test_faults_of_all_three_files_are_told_together():
    told = _topology_faults(dict.fromkeys(_files(), "no PEM"))
    assert [text.split()[2] for text in told] == ["tls_private_key_file", "tls_ca_file", "tls_certificate_file"]


@pytest.mark.parametrize(
    ("key", "search", "fault"),
    [
        (rsa.generate_private_key(65537, 2048), True, ""),
        (ec.generate_private_key(ec.SECP384R1()), True, ""),
        (ed25519.Ed25519PrivateKey.generate(), False, ""),
        (ed25519.Ed25519PrivateKey.generate(), True, "an Ed25519 one, which the search engine can't read"),
        (ed448.Ed448PrivateKey.generate(), False, "of a kind that not all services have"),
        (rsa.generate_private_key(65537, 1024), False, "1024 bits of RSA, fewer than 2048"),
        (dsa.generate_private_key(2048), False, "of a kind that not all services have"),
        (ec.generate_private_key(ec.SECP256K1()), False, "on the curve secp256k1"),
    ],
)
def test_a_key_that_a_service_refuses_is_found(key, search, fault):
    told = key_fault(_public(key), search)
    assert fault in told and bool(fault) == bool(told)
    files = _files(tls_certificate_file=_files_certificate(key=key), tls_private_key_file=_private(key))
    faults = _topology_faults(files, {"elasticsearch": list(HOSTS)} if search else {})
    assert [fault in text for text in faults] == ([True] if fault else [])


def test_a_certificate_that_is_its_own_authority_is_taken():
    names = [*HOSTS, *HOSTS.values(), "10.0.1.100"]
    own = _pem(_certificate("self", HOST_KEY, "self", HOST_KEY, names, DAYS + 9, authority=True))
    assert _topology_faults(_files(tls_ca_file=own, tls_certificate_file=own)) == []


def test_a_certificate_that_lacks_a_host_is_told_for_that_host():
    names = ["node1", "node2", *HOSTS.values(), "10.0.1.100"]
    lacking = _for([SERVER, CLIENT], names=names, begin=DAYS - 1, end=DAYS + 9)
    (fault,) = _topology_faults(_files(tls_certificate_file=_pem(lacking)))
    assert fault.startswith("host node3: tls_certificate_file can't be used: the certificate lacks node3.")


def test_a_path_that_is_not_set_is_told():
    (fault,) = _topology_faults(_files(), tls_private_key_file="")
    assert "tls_private_key_file is not set, though tls_source is files" in fault
