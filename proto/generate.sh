#!/bin/sh
# Generates the stubs next to inference.proto; they are committed, so that nobody needs protoc to run EdgeDet.
set -eu
cd "$(dirname "$0")"
python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. edgedet_proto/inference.proto
