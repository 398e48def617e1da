# What the scripts agree on. To serve from elsewhere, change DESTINATION here and in appspec.yml.
DESTINATION=/opt/hello-web
ADDRESS=127.0.0.1
PORT=8080

# Beside what is installed, not in it: a deployment owns its destination, the service owns this.
STATE=$DESTINATION.state
PID_FILE=$STATE/pid
LOG_FILE=$STATE/log

REVISION=$(cd "$(dirname "$0")/.." && pwd)
VERSION=$(cat "$REVISION/app/version")
