# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import hashlib
import io
import os
import tarfile

import pytest
from ansible_collections.utmstack.ha.plugins.module_utils.search import archive
from ansible_collections.utmstack.ha.plugins.modules import elasticsearch_archive
from archives import FILES, checksum, make_tar, make_zip

HEX = "a" * 128


class Web:
    """Answers URLs with contents, or with an error."""

    def __init__(self, pages):
        self.pages, self.asked = pages, []

    def __call__(self, url):
        self.asked.append(url)
        found = self.pages.get(url)
        if found is None:
            raise OSError("HTTP Error 404: Not Found")
        response = io.BytesIO(found)
        response.headers = {"Content-Length": str(len(found))}
        return response


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_is_unpacked_without_its_top_directory_and_readable_for_all(tmp_path, make):
    source = make(tmp_path / "archive", FILES)
    archive.unpack(str(source), str(tmp_path / "home"))
    found = {
        str(path.relative_to(tmp_path / "home")): path for path in (tmp_path / "home").rglob("*") if path.is_file()
    }
    assert set(found) == set(FILES)
    assert found["bin/elasticsearch"].stat().st_mode & 0o777 == 0o755
    assert found["config/jvm.options"].stat().st_mode & 0o777 == 0o644
    assert found["lib/x.jar"].read_bytes() == b"jar"


def test_an_archive_without_a_top_directory_is_unpacked_as_it_is(tmp_path):
    source = make_zip(tmp_path / "plugin.zip", {"a.jar": (0o644, b""), "config/x.yml": (0o644, b"")}, top="")
    archive.unpack(str(source), str(tmp_path / "plugin"))
    assert sorted(os.listdir(tmp_path / "plugin")) == ["a.jar", "config"]


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_member_that_leads_out_of_its_place_is_refused(tmp_path, make):
    source = make(tmp_path / "archive", {**FILES, "../../../evil": (0o644, b"")})
    with pytest.raises(archive.ArchiveError, match="leads out of its place"):
        archive.unpack(str(source), str(tmp_path / "home"))
    assert not (tmp_path / "evil").exists()


def test_a_link_that_leads_out_of_its_place_is_refused(tmp_path):
    source = make_tar(tmp_path / "archive", FILES)
    with tarfile.open(tmp_path / "linked", "w") as made:
        link = tarfile.TarInfo("top/link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../etc"
        made.addfile(link)
    with pytest.raises(archive.ArchiveError, match="leads out of its place"):
        archive.unpack(str(tmp_path / "linked"), str(tmp_path / "home"))
    assert source.exists()


@pytest.mark.parametrize("content", [b"no archive at all", b"PK\x03\x04 cut off"])
def test_what_is_no_archive_is_said_to_be_none(tmp_path, content):
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(archive.ArchiveError, match="neither a zip nor a tar archive"):
        archive.unpack(str(tmp_path / "archive"), str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no algorithm"),
        ("md5:0123", "names no algorithm"),
        ("sha512:0123", "does not have the 128 hexadecimal digits"),
        (f"sha256:{HEX}", "does not have the 64 hexadecimal digits"),
    ],
)
def test_a_checksum_that_proves_nothing_is_refused(text, words):
    with pytest.raises(archive.ArchiveError, match=words):
        archive.parse_checksum(text)


@pytest.mark.parametrize("text", [HEX, f"{HEX}  elasticsearch-8.19.4.tar.gz\n", f"SHA512 (x.tar.gz) = {HEX.upper()}\n"])
def test_checksum_files_are_understood_in_all_their_forms(text):
    assert archive.digest_in(text, "sha512") == HEX
    assert archive.digest_in(text, "sha256") == ""


def test_a_download_is_verified_by_the_file_beside_it(tmp_path):
    packed = make_zip(tmp_path / "made.zip", FILES).read_bytes()
    url = "https://example.org/elasticsearch.zip"
    digest = hashlib.sha512(packed).hexdigest()
    web = Web({url: packed, f"{url}.sha512": f"{digest}  elasticsearch.zip".encode()})
    path, found = archive.Source(url, f"sha512:{url}.sha512", web).fetch(str(tmp_path))
    assert (os.path.basename(path), found) == ("elasticsearch.zip", f"sha512:{digest}")


@pytest.mark.parametrize(
    ("url", "wanted", "words"),
    [
        (
            "https://example.org/x.zip",
            f"sha512:{HEX}",
            "Nothing was installed.*correct elasticsearch_archive_checksum or elasticsearch_archive_url",
        ),
        ("https://example.org/none.zip", f"sha512:{HEX}", "cannot be downloaded.*404.*copy the archive"),
        ("https://example.org/x.zip", "sha512:https://example.org/none", "checksum cannot be read"),
        ("https://example.org/x.zip", "sha512:https://example.org/x.zip", "holds no sha512"),
        ("/nowhere/x.zip", f"sha512:{HEX}", "does not exist on this host"),
        ("file:///nowhere/x.zip", f"sha512:{HEX}", "/nowhere/x.zip does not exist on this host"),
    ],
)
def test_an_archive_that_cannot_be_trusted_or_had_is_refused_with_a_remedy(tmp_path, url, wanted, words):
    web = Web({"https://example.org/x.zip": b"content"})
    with pytest.raises(archive.ArchiveError, match=words):
        archive.Source(url, wanted, web).fetch(str(tmp_path))


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(archive.ArchiveError, match=r"MiB left, but x.zip needs about .* Make room"):
        archive.require_space(str(tmp_path), 1 << 60, "x.zip")


@pytest.mark.parametrize(
    ("previous", "name", "version", "words"),
    [
        (None, "elasticsearch", "8.19.4", ""),
        (("elasticsearch", "8.19.4"), "elasticsearch", "8.19.4", ""),
        (("elasticsearch", "8.19.4"), "elasticsearch", "9.2.0", ""),
        (("elasticsearch", "8.19.4"), "elasticsearch", "8.18.0", "cannot go back to 8.18.0"),
        (("elasticsearch", "7.17.9"), "elasticsearch", "9.2.0", "last release of 8.19 first"),
        (("elasticsearch", "8.19.4"), "opensearch", "2.19.4", "opensearch cannot read"),
    ],
)
def test_data_never_meets_a_version_that_cannot_read_it(previous, name, version, words):
    reason = archive.refusal(previous, name, version, "/var/lib/elasticsearch")
    assert words in reason
    assert bool(reason) is bool(words)


def test_only_plugins_of_this_module_are_removed_and_changed_ones_fetched_again():
    found = {"kept": f"sha512:{HEX}", "old": f"sha512:{HEX}", "changed": f"sha512:{HEX}"}
    wanted = {
        "kept": archive.parse_checksum(f"sha512:{HEX}"),
        "changed": archive.parse_checksum(f"sha512:{'b' * 128}"),
        "new": archive.parse_checksum("sha512:https://example.org/x"),
    }
    change = archive.plan_plugins(found, wanted)
    assert (change.add, change.remove) == (["new", "changed"], ["old"])


# -- the module -------------------------------------------------------------------------------------------------------


def installation(tmp_path, **params):
    packed = tmp_path / "elasticsearch.zip"
    if not packed.exists():
        make_zip(packed, FILES)
    given = {
        "name": "elasticsearch",
        "version": "8.19.4",
        "url": str(packed),
        "checksum": checksum(packed),
        "plugins": [],
        "directory": str(tmp_path / "opt"),
        "config_directory": str(tmp_path / "etc"),
        "config_files": ["jvm.options"],
        "data_directory": str(tmp_path / "data"),
        "activate": True,
        "prune": False,
        "timeout": 5,
    }
    return elasticsearch_archive.Installation(given | params)


def install(wanted):
    wanted.refuse()
    wanted.install()
    wanted.install_plugins()
    for path, target in wanted.links().items():
        wanted.make_link(path, target)


def test_a_version_is_installed_once_and_found_again(tmp_path):
    install(installation(tmp_path))
    again = installation(tmp_path)
    assert again.found["archive"].startswith("sha512:")
    assert not again.change
    assert again.links() == {}
    assert again.previous() == ("elasticsearch", "8.19.4")
    assert (tmp_path / "etc" / "jvm.options").read_bytes() == b"-Xms1g\n"
    assert sorted(os.listdir(tmp_path / "opt")) == ["elasticsearch", "elasticsearch-8.19.4"]


def test_a_version_that_is_made_ready_changes_nothing_until_it_is_put_in_place(tmp_path):
    opt = tmp_path / "opt"
    install(installation(tmp_path, version="8.18.0"))
    install(installation(tmp_path, activate=False))
    assert installation(tmp_path).previous() == ("elasticsearch", "8.18.0")
    assert os.readlink(tmp_path / "etc" / "jvm.options").startswith(str(opt / "elasticsearch-8.18.0"))
    install(installation(tmp_path))
    assert installation(tmp_path).previous() == ("elasticsearch", "8.19.4")
    assert os.readlink(opt / "elasticsearch-previous") == str(opt / "elasticsearch-8.18.0")
    assert installation(tmp_path).links() == {}


def test_only_the_version_before_is_kept(tmp_path):
    opt = tmp_path / "opt"
    for version in ("8.17.0", "8.18.0", "8.19.4"):
        install(installation(tmp_path, version=version))
    (opt / "elasticsearch-by-hand").mkdir()
    assert installation(tmp_path).superfluous() == []
    assert installation(tmp_path, prune=True).superfluous() == [str(opt / "elasticsearch-8.17.0")]
    # What still runs is kept while the next one is made ready.
    assert installation(tmp_path, version="9.2.0", prune=True).superfluous() == [str(opt / "elasticsearch-8.17.0")]


@pytest.mark.parametrize(
    ("java", "version", "fault"),
    [("17.0.15", "8.19.4", ""), ("17.0.15", "9.2.0", "needs Java 21, and .* is Java 17"), ("21.0.13.1", "9.2.0", "")],
)
def test_a_java_that_is_too_old_is_refused(tmp_path, monkeypatch, java, version, fault):
    home = tmp_path / "java"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text("")
    (home / "release").write_text(f'IMPLEMENTOR="Debian"\nJAVA_VERSION="{java}"\nJAVA_VERSION_DATE="2026-11-17"\n')
    monkeypatch.setattr(elasticsearch_archive.shutil, "which", lambda _name: str(home / "bin" / "java"))
    wanted = installation(tmp_path, version=version)
    if not fault:
        assert wanted.java_home() == str(home)
        return
    with pytest.raises(archive.ArchiveError, match=fault):
        wanted.java_home()


def test_what_fails_leaves_nothing_and_what_was_killed_is_cleared_away(tmp_path):
    with pytest.raises(archive.ArchiveError):
        install(installation(tmp_path, checksum=f"sha512:{HEX}"))
    assert os.listdir(tmp_path / "opt") == []
    (tmp_path / "opt" / ".elasticsearch-8.19.4.part" / "home").mkdir(parents=True)
    install(installation(tmp_path))
    assert sorted(os.listdir(tmp_path / "opt")) == ["elasticsearch", "elasticsearch-8.19.4"]


def test_an_archive_of_something_else_is_refused(tmp_path):
    with pytest.raises(archive.ArchiveError, match="no program bin/opensearch"):
        install(installation(tmp_path, name="opensearch"))


def test_the_same_version_from_another_archive_is_refused(tmp_path):
    install(installation(tmp_path))
    with pytest.raises(archive.ArchiveError, match="never replaced under a server"):
        installation(tmp_path, checksum=f"sha512:{HEX}").refuse()


def test_an_older_version_is_refused_only_where_there_is_data(tmp_path):
    install(installation(tmp_path))
    installation(tmp_path, version="8.18.0").refuse()
    (tmp_path / "data" / "_state").mkdir(parents=True)
    (tmp_path / "data" / "_state" / "node-0.st").write_text("")
    with pytest.raises(archive.ArchiveError, match="cannot go back to 8.18.0"):
        installation(tmp_path, version="8.18.0").refuse()


def test_plugins_come_and_go_with_what_is_asked_for(tmp_path):
    plugin = make_zip(tmp_path / "plugin.zip", {"x.jar": (0o644, b"")}, top="")
    entry = {"name": "lab", "url": str(plugin), "checksum": checksum(plugin)}
    install(installation(tmp_path, plugins=[entry]))
    home = tmp_path / "opt" / "elasticsearch-8.19.4"
    assert os.listdir(home / "plugins" / "lab") == ["x.jar"]
    assert not installation(tmp_path, plugins=[entry]).change
    without = installation(tmp_path)
    assert without.change
    without.install_plugins()
    assert os.listdir(home / "plugins") == []
