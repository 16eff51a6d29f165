#!/usr/bin/env node
// node.js - an echo server on Node's net module, written the way its documentation writes one. Prints nothing; SIGTERM
// ends it.
//
//     node bench/peers/node.js ./uds_socket

'use strict';
const net = require('net');

const path = process.argv[2];
if (!path) process.exit(2);
const server = net.createServer((client) => {
  client.on('error', () => {}); // a peer that resets would end the process otherwise
  client.pipe(client);
});
server.on('error', () => process.exit(1));
server.listen(path);
