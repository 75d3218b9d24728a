"""Is a folder on a network file system? There SQLite's locks and shared memory do not hold."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["mounts_here", "network_type", "on_linux", "on_macos", "type_of"]

# A FUSE file system shows as fuse.<name>; those that keep data elsewhere are named here too.
_NETWORK = re.compile(
    r"9p|afpfs|afs|beegfs|ceph|cifs|coda|davfs|glusterfs|gpfs|lustre|ncpfs|nfs\d?|ocfs2|orangefs"
    r"|prl_fs|smb\d?|smbfs|vboxsf|webdav|webdavfs"
    r"|fuse\.(ceph|cephfs|gcsfuse|glusterfs|juicefs|mountpoint-s3|rclone|s3fs|sshfs|vmhgfs-fuse)"
)


def network_type(folder: Path, mounts: Mapping[str, str]) -> str | None:
    """Return the type of the network file system that *folder* is on, or None if it is local."""
    kind = type_of(folder.resolve(), mounts)
    return kind if kind is not None and _NETWORK.fullmatch(kind) else None


def type_of(folder: Path, mounts: Mapping[str, str]) -> str | None:
    """Return the file system type of *folder*: that of the nearest mount point around it."""
    for place in (folder, *folder.parents):
        if str(place) in mounts:
            return mounts[str(place)]
    return None


def on_linux(mountinfo: str) -> dict[str, str]:
    """Return mount point to type from the text of `/proc/self/mountinfo` (proc(5))."""
    mounts: dict[str, str] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) > 4 and kind:  # a later mount on the same point hides the earlier one
            mounts[_unescaped(fields[4])] = kind[0]
    return mounts


def on_macos(listing: str) -> dict[str, str]:
    """Return mount point to type from what `mount` prints: `/dev/disk1 on /place (apfs, …)`."""
    found = re.findall(r"^.*? on (/.*) \((\w+)[,)].*$", listing, re.MULTILINE)
    return dict(found)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mounts_here() -> dict[str, str]:
    """Return the mounts of this machine; empty where nothing tells them."""
    try:
        if sys.platform == "darwin":
            listing = subprocess.run(
                ["/sbin/mount"], capture_output=True, text=True, check=True, timeout=10
            )
            return on_macos(listing.stdout)
        return on_linux(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    except (OSError, subprocess.SubprocessError):
        return {}
