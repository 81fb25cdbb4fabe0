# The application in node.js, with Debian's node-pg, or else npm's pg.
cd "$(dirname "$0")"

export NODE_PATH=/usr/share/nodejs
if ! node -e 'require("pg")' 2>/dev/null; then
	NODE_PATH=$(mktemp -d)
	trap 'rm -r "$NODE_PATH"' EXIT
	cp ../../examples/node/package.json "$NODE_PATH"
	npm install --silent --no-audit --no-fund --prefix "$NODE_PATH" >&2
	NODE_PATH=$NODE_PATH/node_modules
fi
/usr/bin/python3 -B application.py node node ../../examples/node/app.js
