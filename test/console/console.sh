# The console: its page in Chromium, where that and npm are installed, and its server.
cd "$(dirname "$0")"
if [ -x /usr/bin/chromium ] && command -v npm >/dev/null; then
	mkdir "$TMPDIR/console"
	cp package.json package-lock.json "$TMPDIR/console"
	npm ci --loglevel error --no-audit --no-fund --prefix "$TMPDIR/console" >&2 || exit
	export BROWSER=1 NODE_PATH=$TMPDIR/console/node_modules
else
	. ../clients/node-path pg '^8.8.0'
fi
node console.js
