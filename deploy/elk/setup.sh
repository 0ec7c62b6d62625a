#!/usr/bin/env bash
# Tells Elasticsearch and Kibana what kvnode's logs look like. Run once, by compose.yaml's elk-setup; harmless when repeated.
# $ELASTICSEARCH, $KIBANA: http://host:port.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# send METHOD URL FILE
send() {
  echo "$1 $2"
  curl --fail --silent --show-error --retry 10 --retry-connrefused --request "$1" "$2" \
    --header 'Content-Type: application/json' --header 'kbn-xsrf: kvnode' --data-binary "@$here/$3"
  echo
}

send PUT "$ELASTICSEARCH/_ingest/pipeline/kvnode" ingest-pipeline.json
send PUT "$ELASTICSEARCH/_index_template/kvnode" index-template.json
send POST "$KIBANA/api/data_views/data_view" data-view.json
