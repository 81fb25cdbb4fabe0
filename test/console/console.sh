# The console: its page in Chromium, where that and npm are installed, and its server.
cd "$(dirname "$0")"
if [ -x /usr/bin/chromium ] && command -v npm >/dev/null; then
	. ../clients/npm-ci .
	export BROWSER=1
else
	. ../clients/node-path pg '^8.8.0'
fi
node console.js
