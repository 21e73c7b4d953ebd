"""Tells whether a path is on a file system that other machines may have mounted too."""

from pathlib import Path

import psutil

# Types as the system names them in its table of mounts; those of FUSE begin with `fuse.`.
TYPES = {"9p", "afs", "afpfs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre"}
TYPES |= {"nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs"}
TYPES |= {"webdav", "wekafs"}


def is_on_network(path: Path) -> bool:
    """Return whether a path lies on a network file system, as far as its mount tells.

    Args:
        path: a file or folder, which need not exist.
    """
    path, kind, longest = path.resolve(), "", 0
    for mount in psutil.disk_partitions(all=True):
        depth = len(Path(mount.mountpoint).parts)
        # Of two mounts at one place the later one hides the earlier.
        if depth >= longest and path.is_relative_to(mount.mountpoint):
            kind, longest = mount.fstype, depth
    return kind.lower() in TYPES or kind.startswith("fuse.")
