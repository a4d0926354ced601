# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judges a host's certificate on the controller, where the cryptography package is (see requirements.txt)."""

from __future__ import annotations

import datetime
import ipaddress

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False


class MissingLibrary(RuntimeError):
    """The controller lacks the Python package cryptography."""


def _require_library() -> None:
    if not HAS_CRYPTOGRAPHY:
        raise MissingLibrary("the controller needs the Python package cryptography: pip install cryptography")


def _certificates(pem: str) -> list[x509.Certificate]:
    if "-----BEGIN CERTIFICATE-----" not in pem:
        return []
    return x509.load_pem_x509_certificates(pem.encode())


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


def _chain_ends_at(leaf: x509.Certificate, others: list[x509.Certificate], authorities: list[x509.Certificate]) -> bool:
    current, remaining = leaf, [other for other in others if other != leaf]
    while True:
        if any(_issued(current, authority) for authority in authorities):
            return True
        issuer = next((other for other in remaining if _issued(current, other)), None)
        if issuer is None:
            return False
        remaining.remove(issuer)
        current = issuer


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
        names: DNS names and addresses that the certificate must carry.
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
    leaf = next((certificate for certificate in present if not _is_authority(certificate)), None)
    if leaf is None:
        return [*faults, "the host has no certificate"]
    if not public_key.strip():
        faults.append("the host has no private key")
    elif leaf.public_key() != serialization.load_pem_public_key(public_key.encode()):
        faults.append("the certificate does not belong to the host's private key")
    if not _chain_ends_at(leaf, present, authorities):
        faults.append("the certificate was not issued by this certificate authority")
    missing = sorted(set(names) - _names(leaf))
    if missing:
        faults.append("the certificate lacks " + ", ".join(missing))
    days = (leaf.not_valid_after_utc - now).total_seconds() / 86400
    if days < renew_before_days:
        faults.append(f"the certificate ends in {days:.0f} days, on {leaf.not_valid_after_utc:%Y-%m-%d}")
    return faults


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
    """Return the public half, PEM, of an unencrypted private key in PEM.

    Raises:
        MissingLibrary: the package cryptography is not installed.
        ValueError: the text is no such key.
    """
    _require_library()
    key = serialization.load_pem_private_key(private_key.encode(), password=None)
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def subject_alt_names(names: list[str]) -> list[str]:
    """Prefix each name with its kind as certificate requests want it: C(DNS:) or C(IP:)."""
    return [("IP:" if _is_address(name) else "DNS:") + name for name in names]
