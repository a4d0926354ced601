# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user's own certificates and keys, judged on the controller before any host is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .faults import Findings
from .settings import Inventory

CA, CERTIFICATE, KEY = OWN = ("tls_ca_file", "tls_certificate_file", "tls_private_key_file")
SERVED = "haproxy_certificate"
USABLE = (
    "Give a certificate with its chain, of that CA and for that key, that is valid now, for all of these names and addresses, and for "
    "servers and clients (serverAuth, clientAuth)"
)

# Between the hosts of these groups pgBackRest lets clients in by the common name of their certificates.
ARCHIVE = ("postgresql", "backup")

GOOD_KEY = "Give the private key of the certificate in PEM format, not encrypted, of RSA with 2048 bits or more or of EC (P-256)"


def own_files(variables: Mapping[str, Any]) -> list[str]:
    """Return the settings of a host that have to name files of certificates or keys on the controller."""
    own = OWN if variables.get("tls_source") == "files" else ()
    return [*own, *([SERVED] if variables.get(SERVED) else [])]


def ca_file(variables: Mapping[str, Any], secrets_dir: str) -> str:
    """Return where the CA's certificate is on the controller, by a host's settings."""
    return str(variables.get(CA, "")) if variables.get("tls_source") == "files" else f"{secrets_dir}/ca.crt"


def check_certificates(inventory: Inventory, names: Mapping[str, list[str]], found: Findings) -> None:
    """Refuse files that are not there, do not belong together, or do not serve. names: by host, what its certificate is for."""
    archive = (
        [host for group in ARCHIVE for host in inventory.groups.get(group, ())]
        if all(inventory.groups.get(group) for group in ARCHIVE)
        else []
    )
    for host, own in names.items():
        search = host in inventory.groups.get("elasticsearch", ())
        common_name = host if host in archive else ""
        for fault in _faults(inventory.variables(host), inventory.files.get(host, {}), own, search, common_name):
            found.refuse(f"host {host}", *fault)


def _faults(
    variables: Mapping[str, Any],
    files: Mapping[str, str | OSError],
    names: list[str],
    search: bool,
    common_name: str,
) -> Iterator[tuple[str, str, str]]:
    texts = {}
    for setting, content in files.items():
        path = variables.get(setting)
        if not path:
            yield setting, "is not set, though tls_source is files", "Set it to a file in PEM format on the controller"
        elif isinstance(content, OSError):
            yield (
                setting,
                f"is {path}, which can't be read on the controller: {content.strerror}",
                "Put the file there, or correct the path",
            )
        else:
            texts[setting] = content
    if not texts:
        return
    # Loading the library takes a while, and most inventories have no files of their own.
    from ..common import certificates

    public_key = ""
    try:
        if SERVED in texts:
            for fault in certificates.served_faults(texts[SERVED]):
                yield (
                    SERVED,
                    f"can't be used: {fault}",
                    "Give one file with certificate, chain and private key, for servers (serverAuth)",
                )
        if KEY in texts:
            try:
                public_key = certificates.public_key(texts[KEY])
            except ValueError as error:
                yield KEY, f"can't be used: {error}", GOOD_KEY
                del texts[KEY]
            else:
                fault = certificates.key_fault(public_key, search)
                if fault:
                    yield KEY, f"can't be used: {fault}", GOOD_KEY
        for setting in (CA, CERTIFICATE):
            fault = certificates.certificates_fault(texts[setting]) if setting in texts else ""
            if fault:
                yield setting, f"can't be used: {fault}", "Give a file in PEM format"
                del texts[setting]
        if CA in texts and CERTIFICATE in texts:
            fault = certificates.root_fault(texts[CERTIFICATE], texts[CA])
            if fault:
                yield CA, f"can't be used: {fault}", "Add the certificates up to the root, which signed itself"
        if texts.keys() >= set(OWN):
            more = variables.get("tls_extra_names") or []
            wanted = [*names, *(str(name) for name in more)] if isinstance(more, list) else names
            pem = f"{texts[CA]}\n{texts[CERTIFICATE]}"
            for fault in certificates.certificate_faults(pem, public_key, texts[CA], wanted, 0):
                yield CERTIFICATE, f"can't be used: {fault}", USABLE
            fault = certificates.order_fault(texts[CERTIFICATE], public_key)
            if fault:
                yield CERTIFICATE, f"can't be used: {fault}", "Put the certificates of its chain after it"
            fault = certificates.common_name_fault(texts[CERTIFICATE], common_name) if common_name else ""
            if fault:
                yield (
                    CERTIFICATE,
                    f"can't be used between PostgreSQL and the backup hosts: {fault}",
                    "Give one whose CN is the host's name in the inventory, or leave tls_source at local_ca",
                )
    except ValueError as error:
        yield CERTIFICATE, f"or {CA} can't be used: {error}", "Give files in PEM format"
    except certificates.MissingLibrary as error:
        yield CERTIFICATE, f"can't be judged: {error}", "Install it"
