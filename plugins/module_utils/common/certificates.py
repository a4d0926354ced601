# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judges a host's certificate on the controller, where the cryptography package is (see requirements.txt)."""

from __future__ import annotations

import datetime
import ipaddress
import re

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False


# What a host's certificate is for: members of a cluster are servers and clients of each other.
USAGES = ("serverAuth", "clientAuth")
# At the start of a line, where OpenSSL looks for it.
CERTIFICATE_LINE = re.compile(r"^-----BEGIN (X509 )?CERTIFICATE-----", re.MULTILINE)
RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1", "secp521r1")
KEY_BLOCK = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----.*?-----END (?:[A-Z]+ )*PRIVATE KEY-----\n?", re.DOTALL)


class MissingLibrary(RuntimeError):
    """The controller lacks the Python package cryptography."""


def _require_library() -> None:
    if not HAS_CRYPTOGRAPHY:
        raise MissingLibrary("the controller needs the Python package cryptography: pip install cryptography")


def _certificates(pem: str) -> list[x509.Certificate]:
    if not CERTIFICATE_LINE.search(pem):
        return []
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise ValueError("a certificate can't be read") from None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = names.get_values_for_type(x509.IPAddress)
    return set(names.get_values_for_type(x509.DNSName)) | {str(address) for address in addresses}


def _lacking(certificate: x509.Certificate, wanted: list[str]) -> list[str]:
    """Return the names that a certificate is not valid for. A wildcard stands for one label (RFC 6125, section 6.4.3)."""
    present = {name.lower() for name in _names(certificate)}
    return sorted(
        name
        for name in set(wanted)
        if name.lower() not in present
        and (_is_address(name) or "*." + name.lower().partition(".")[2] not in present or "." not in name)
    )


def _usage_faults(certificate: x509.Certificate, usages: tuple[str, ...]) -> list[str]:
    """Say what a certificate must not be used for. Without the extension of its kind, nothing is forbidden (RFC 5280, 4.2.1)."""
    faults, extensions = [], certificate.extensions
    try:
        allowed = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        oids = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH, "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}
        lacking = [usage for usage in usages if oids[usage] not in allowed]
        if lacking and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in allowed:
            faults.append(f"the certificate's extended key usage lacks {' and '.join(lacking)}")
    except x509.ExtensionNotFound:
        pass
    try:
        if not extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            faults.append("the certificate's key usage lacks digitalSignature")
    except x509.ExtensionNotFound:
        pass
    return faults


def _validity_faults(certificate: x509.Certificate, what: str, before_days: int, now: datetime.datetime) -> list[str]:
    if certificate.not_valid_before_utc > now:
        return [f"{what} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only"]
    days = (certificate.not_valid_after_utc - now).total_seconds() / 86400
    if days < 0:
        return [f"{what} ended on {certificate.not_valid_after_utc:%Y-%m-%d}"]
    return (
        [f"{what} ends in {days:.0f} days, on {certificate.not_valid_after_utc:%Y-%m-%d}"] if days < before_days else []
    )


def _chain(
    leaf: x509.Certificate, others: list[x509.Certificate], authorities: list[x509.Certificate]
) -> list[x509.Certificate]:
    """Return the certificates by which a leaf is trusted, the authority last; none where it is not."""
    current, remaining, chain = leaf, [other for other in others if other != leaf], []
    while True:
        trusted = next((authority for authority in authorities if _issued(current, authority)), None)
        if trusted:
            return [*chain, trusted]
        issuer = next((other for other in remaining if _issued(current, other)), None)
        if issuer is None:
            return []
        remaining.remove(issuer)
        chain.append(issuer)
        current = issuer


def _has_key(certificate: x509.Certificate, public_key: str) -> bool:
    return certificate.public_key() == serialization.load_pem_public_key(public_key.encode())


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def certificate_faults(
    pem: str,
    public_key: str,
    authority: str,
    names: list[str],
    renew_before_days: int,
    now: datetime.datetime | None = None,
) -> list[str]:
    """Say why a host needs another certificate.

    Args:
        pem: what the host has: CA certificates and its own (with intermediates), PEM, in any order; may be empty.
        public_key: the public half of the host's key, PEM; empty when the host has none.
        authority: the CA's certificates, PEM, that the host should trust.
        names: DNS names and addresses that the certificate must be valid for.
        renew_before_days: remaining validity, in days, below which it counts as expiring.
        now: the time to judge at, timezone-aware; the present when None.

    Returns:
        One sentence a fault; an empty list when the certificate serves.

    Raises:
        MissingLibrary: the package cryptography is not installed.
    """
    _require_library()
    now = now or datetime.datetime.now(datetime.UTC)
    present, authorities = _certificates(pem), _certificates(authority)
    if not authorities:
        return ["there is no certificate authority yet"]
    faults = [
        "the host does not have the certificate authority's certificate"
        for wanted in authorities
        if wanted not in present
    ][:1]
    # `openssl req -x509` makes certificates that are their own authority.
    leaf = next((one for one in present if not _is_authority(one)), None) or next(
        (one for one in present if public_key and _has_key(one, public_key)), None
    )
    if leaf is None:
        return [*faults, "the host has no certificate"]
    if not public_key.strip():
        faults.append("the host has no private key")
    elif not _has_key(leaf, public_key):
        faults.append("the certificate does not belong to the host's private key")
    chain = _chain(leaf, present, authorities)
    if not chain:
        faults.append("the certificate was not issued by this certificate authority")
    missing = _lacking(leaf, names)
    if missing:
        faults.append("the certificate lacks " + ", ".join(missing))
    faults += _usage_faults(leaf, USAGES)
    faults += _validity_faults(leaf, "the certificate", renew_before_days, now)
    for other in chain:
        faults += _validity_faults(other, f"the CA certificate {other.subject.rfc4514_string()}", 0, now)
    return faults


def served_faults(pem: str, now: datetime.datetime | None = None) -> list[str]:
    """Say why a file with certificate, chain and key can't be served to clients, one sentence a fault.

    Raises:
        MissingLibrary: the package cryptography is not installed.
    """
    _require_library()
    now = now or datetime.datetime.now(datetime.UTC)
    leaf = next((certificate for certificate in _certificates(pem) if not _is_authority(certificate)), None)
    if leaf is None:
        return ["it has no certificate of a server"]
    faults = _usage_faults(leaf, ("serverAuth",)) + _validity_faults(leaf, "the certificate", 0, now)
    try:
        own = public_key(pem)
        if not _has_key(leaf, own):
            faults.append("the certificate does not belong to the private key")
        faults += [fault for fault in (order_fault(pem, own), key_fault(own, search=False)) if fault]
    except ValueError as error:
        faults.append(str(error))
    return faults


def certificates_fault(pem: str) -> str:
    """Say why a file that should have certificates has none that programs find, or nothing.

    Raises:
        MissingLibrary: the package cryptography is not installed.
    """
    _require_library()
    if not CERTIFICATE_LINE.search(pem):
        return "it has no certificate in PEM; `openssl x509 -inform der -in FILE -out NEW` makes one of DER"
    try:
        _certificates(pem)
    except ValueError as error:
        return str(error)
    return ""


def key_fault(public_key: str, search: bool) -> str:
    """Say why a kind of key does not serve, or nothing. public_key: PEM. search: whether Elasticsearch or OpenSearch reads the key.

    OpenSSL refuses short keys at its security level 2, Debian's; Go, in which etcd and Docker are written, has no DSA and no Ed448.
    Elasticsearch and Netty read private keys of RSA, DSA and EC only.
    """
    key = serialization.load_pem_public_key(public_key.encode())
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size >= RSA_BITS:
            return ""
        return f"the key has {key.key_size} bits of RSA, fewer than {RSA_BITS}, with which OpenSSL refuses it"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "the key is an Ed25519 one, which the search engine can't read" if search else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name in CURVES:
            return ""
        return f"the key is on the curve {key.curve.name}, which not all services have"
    return "the key is of a kind that not all services have"


def order_fault(pem: str, public_key: str) -> str:
    """Say that another certificate than the host's comes first, or nothing: services take the first one for their own."""
    first, *others = _certificates(pem)
    late = not _has_key(first, public_key) and any(_has_key(other, public_key) for other in others)
    return "the host's own certificate is not the first one, which services present" if late else ""


def common_name_fault(pem: str, name: str) -> str:
    """Say that a host's certificate has another common name (CN) than this one, or nothing: pgBackRest lets clients in by that.

    pem: the certificate and its chain.
    """
    first, *_others = _certificates(pem)
    found = [str(one.value) for one in first.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return (
        "" if found == [name[:64]] else f"its common name (CN) is {' and '.join(found) or 'missing'}, not {name[:64]}"
    )


def root_fault(pem: str, authority: str) -> str:
    """Say that a certificate is trusted by the word of an authority whose own root is not there, or nothing.

    OpenSSL, and with it PostgreSQL and HAProxy, looks for the root (X509_V_FLAG_PARTIAL_CHAIN is off).
    pem: the certificate and its chain. authority: the file of authorities.
    """
    present, authorities = _certificates(pem), _certificates(authority)
    chain = _chain(present[0], present, authorities)
    # The last one below the authorities: of two that issued it with the same key, one may be a root.
    if not chain or _is_rooted([present[0], *chain][-2], authorities):
        return ""
    name, issuer = chain[-1].subject.rfc4514_string(), chain[-1].issuer.rfc4514_string()
    return f"it has {name} without the authority that issued it, {issuer}"


def _is_rooted(certificate: x509.Certificate, authorities: list[x509.Certificate]) -> bool:
    others = [other for other in authorities if other != certificate]
    return _issued(certificate, certificate) or any(
        _issued(certificate, other) and _is_rooted(other, others) for other in others
    )


def foreign_authority(pem: str, authority: str) -> str:
    """Name the CA that a host trusts when it is not ours.

    Args:
        pem: the certificates that the host has, PEM; may be empty.
        authority: the CA's certificates of this controller, PEM; may be empty when it has none yet.

    Returns:
        Subject and start of validity of the foreign CA, or an empty string.

    Raises:
        MissingLibrary: the package cryptography is not installed.
    """
    _require_library()
    ours = _certificates(authority)
    trusted = [certificate for certificate in _certificates(pem) if _is_authority(certificate)]
    if not trusted or any(certificate in ours for certificate in trusted):
        return ""
    return f"{trusted[0].subject.rfc4514_string()}, made {trusted[0].not_valid_before_utc:%Y-%m-%d %H:%M} UTC"


def public_key(private_key: str) -> str:
    """Return the public half, PEM, of the unencrypted private key in a text with PEM.

    Raises:
        MissingLibrary: the package cryptography is not installed.
        ValueError: there is no such key, and why.
    """
    _require_library()
    block = KEY_BLOCK.search(private_key)
    if block is None:
        raise ValueError("there is no private key in PEM")
    try:
        key = serialization.load_pem_private_key(block.group().encode(), password=None)
    except TypeError:
        raise ValueError(
            "the private key is encrypted, and services start without anybody to type its passphrase; "
            "`openssl pkey -in KEY -out NEW` writes one without"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the private key can't be read") from None
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def subject_alt_names(names: list[str]) -> list[str]:
    """Prefix each name with its kind as certificate requests want it: C(DNS:) or C(IP:)."""
    return [("IP:" if _is_address(name) else "DNS:") + name for name in names]
