"""Where a published archive lies: pip's and npm's indexes, by the settings that these tools read themselves."""

from __future__ import annotations

import configparser
import html
import json
import os
import re
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from bessemer.core.errors import UserError
from bessemer.core.fetch_web import YES, Access, Unreachable, retried, shown, text_of
from bessemer.core.types import Resource

_SIMPLE = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


def pip_settings() -> dict[str, str]:
    """Return pip's settings: its files in its own order, `[install]` over `[global]`, then the environment."""
    own = os.environ.get("PIP_CONFIG_FILE")
    system = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = [*(Path(folder) / "pip/pip.conf" for folder in reversed(system)), Path("/etc/pip.conf"),
             Path.home() / ".pip/pip.conf", user / "pip/pip.conf", Path(sys.prefix) / "pip.conf", *([Path(own)] if own else [])]
    parser = configparser.RawConfigParser()
    try:
        parser.read([] if own == os.devnull else files, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UserError(f"pip's settings cannot be read: {' '.join(str(error).split())}") from None
    named = [pair for section in ("global", "install") if parser.has_section(section) for pair in parser.items(section)]
    named += [(key[4:].lower(), value) for key, value in os.environ.items() if key.startswith("PIP_") and value]
    return {key.replace("_", "-"): value for key, value in named}


def find_pypi(resource: Resource, go_on: str) -> tuple[str, Access]:
    """Return the archive's URL: pip's find-links, then its index, then its extra indexes."""
    settings = pip_settings()
    access = Access(settings.get("cert"), settings.get("proxy"))
    name = re.sub(r"[-_.]+", "-", resource.package).lower()
    indexes = [settings.get("index-url", "https://pypi.org/simple"), *settings.get("extra-index-url", "").split()]
    indexes = [] if settings.get("no-index", "").lower() in YES else indexes
    folders = settings.get("find-links", "").split()
    silent, listed = None, False
    for page in [*folders, *(f"{index.rstrip('/')}/{name}/" for index in indexes)]:
        try:
            links = retried(lambda page=page: _links(page, access))  # type: ignore[misc]
        except Unreachable as error:
            silent = silent or (None if error.absent else error)
            continue
        listed = listed or page not in folders
        if resource.archive in links:
            return links[resource.archive], access
    if silent:
        raise silent
    places = ", ".join(shown(index) for index in indexes) or "find-links alone (pip's no-index is set)"
    what = f"version {resource.version} ('{resource.archive}') of the package" if listed else "the package"
    raise UserError(f"{what} '{resource.package}' is not at {places}; {go_on}")


def _links(page: str, access: Access) -> dict[str, str]:
    """Return file name -> URL of a simple page (HTML or PEP 691 JSON) or of a local folder of files."""
    if "://" not in page and not page.startswith("file:"):
        page = Path(page).expanduser().absolute().as_uri()
    if page.startswith("file:"):
        folder = Path(urllib.request.url2pathname(urllib.parse.urlsplit(page).path))
        index = next((folder / name for name in ("index.html", "index.json") if (folder / name).is_file()), None)
        if index is None and folder.is_dir():
            return {file.name: file.as_uri() for file in folder.iterdir()}
        page = (index or folder).as_uri()
    text, base = text_of(page, access, _SIMPLE)
    if text.lstrip().startswith("{"):
        hrefs = [file["url"] for file in json.loads(text).get("files", [])]
    else:
        found = re.findall(r"""<(a|base)\s[^>]*?href\s*=\s*["']([^"']+)""", text, re.IGNORECASE)
        hrefs = [html.unescape(href) for tag, href in found if tag.lower() == "a"]
        base = next((urllib.parse.urljoin(base, html.unescape(href)) for tag, href in found if tag.lower() == "base"), base)
    urls = [_with_login(urllib.parse.urljoin(base, href), page) for href in hrefs]
    return {urllib.parse.unquote(urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1]): url for url in urls}


def _with_login(url: str, page: str) -> str:
    """Give a file's URL the login of the page that named it, where both are on one host."""
    ours, theirs = urllib.parse.urlsplit(page), urllib.parse.urlsplit(url)
    same = (ours.scheme, ours.netloc.rpartition("@")[2]) == (theirs.scheme, theirs.netloc)
    return theirs._replace(netloc=ours.netloc).geturl() if same else url


def find_npm(resource: Resource, go_on: str) -> tuple[str, Access]:
    """Return the archive's URL from the registry that npm's settings name (`.npmrc`, environment)."""
    settings: dict[str, str] = {}
    for file in (Path("/etc/npmrc"), Path(os.environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc")):
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            key, equals, value = line.partition("=")
            if equals and key.strip()[:1] not in "#;":
                settings[key.strip()] = os.path.expandvars(value.strip().strip("\"'"))
    settings.update({key[11:].lower().replace("_", "-"): value for key, value in os.environ.items()
                     if key.lower().startswith("npm_config_") and value})
    registry = settings.get(resource.package.split("/")[0] + ":registry") or settings.get("registry") or "https://registry.npmjs.org"
    logins = {key.removesuffix(":_authToken"): f"Bearer {value}" for key, value in settings.items() if key.endswith(":_authToken")}
    access = Access(settings.get("cafile") or os.environ.get("NODE_EXTRA_CA_CERTS"), settings.get("https-proxy"), logins)
    page = f"{registry.rstrip('/')}/{urllib.parse.quote(resource.package, safe='@')}"
    published: dict[str, Any] | None = None
    try:
        text, _ = retried(lambda: text_of(page, access, "application/vnd.npm.install-v1+json, application/json;q=0.5"))
        published = json.loads(text).get("versions", {}).get(resource.version)
    except Unreachable as error:
        if not error.absent:
            raise
    if published is None:
        raise UserError(f"version {resource.version} of the package '{resource.package}' is not at {shown(registry)}; {go_on}")
    return _with_login(published["dist"]["tarball"], page), access
