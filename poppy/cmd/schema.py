# SPDX-License-Identifier: Apache-2.0
"""Schema upgrade, shared by the commands that run it."""

import pathlib

from poppy.bootstrap import Bootstrap
from poppy.common import errors


def sync(bootstrap: Bootstrap) -> None:
    """Create the directory of the embedded database and upgrade the schema.

    Raises:
        ConfigError: the directory can't be created, or the schema is newer than this version.
    """
    path = pathlib.Path(bootstrap.conf.state_path)
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as exc:
        raise errors.ConfigError(f"[DEFAULT] state_path {path} can't be created: {exc}") from exc
    bootstrap.storage.sync()
