// node_client.js PATH: stdin to the server, what comes back to stdout; half-closes after the last byte.
'use strict';
const socket = require('net').connect({ path: process.argv[2], allowHalfOpen: true });
process.stdin.pipe(socket);
socket.pipe(process.stdout);
socket.on('error', (error) => { console.error(error.message); process.exitCode = 1; });
