#!/usr/bin/env bash
# s3fs 2026.9.0 (aiobotocore 3.10.0): `exists` says that a bucket is not there when the server does not answer at all; of an object in
# that bucket the same call raises.
#
# The difference matters where a missing bucket is a mistake and a lost connection is a reason to wait: `exists(BUCKET)` cannot tell
# them apart. `info(BUCKET)` and `ls(BUCKET)` raise EndpointConnectionError, as one expects.
#
# Output seen:
#   exists('bucket') False
#   exists('bucket/key') EndpointConnectionError
#   info('bucket') EndpointConnectionError
#   ls('bucket') EndpointConnectionError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check s3fs==2026.9.0 aiobotocore==3.10.0
cat > "$folder/show.py" <<'PY'
import socket

import s3fs

# a port on which nobody listens any more
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
files = s3fs.S3FileSystem(
    key="key",
    secret="secret",
    endpoint_url=f"http://127.0.0.1:{port}",
    client_kwargs={"region_name": "us-east-1"},
    config_kwargs={"retries": {"max_attempts": 1}, "connect_timeout": 2},
)
for method, path in (
    ("exists", "bucket"),
    ("exists", "bucket/key"),
    ("info", "bucket"),
    ("ls", "bucket"),
):
    try:
        answer = getattr(files, method)(path)
    except Exception as error:
        answer = type(error).__name__
    print(f"{method}({path!r}) {answer}")
PY
"$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
exists('bucket') False
exists('bucket/key') EndpointConnectionError
info('bucket') EndpointConnectionError
ls('bucket') EndpointConnectionError
EXPECTED
