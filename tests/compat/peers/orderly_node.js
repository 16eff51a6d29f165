// orderly_node.js - required before the Node server of bench/peers: on SIGTERM it closes its server, and the process
// ends when those who are connected have left.
'use strict';
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  process.once('SIGTERM', () => this.close());
  return listen.apply(this, args);
};
