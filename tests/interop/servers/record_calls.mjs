// Loaded with `node --import` before server-everything. It changes two things, and nothing in the server's own files:
// the server listens on the loopback interface alone, and every tool call that it executes is written to a log.

import { appendFileSync } from 'node:fs';
import { Server } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';

const callLog = process.env.CALL_LOG;
if (!callLog) throw new Error('CALL_LOG is not set');

// What the last argument, its transport, makes it serve.
const path = process.argv.at(-1) === 'sse' ? '/sse' : '/mcp';

// server-everything asks for all interfaces and offers no setting for it.
const listen = Server.prototype.listen;
Server.prototype.listen = function listenOnLoopback(port, onListening) {
  this.once('listening', () => console.error(`listening on http://127.0.0.1:${this.address().port}${path}`));
  return listen.call(this, { host: '127.0.0.1', port: Number(port) }, onListening);
};

// The callback of a tool is the last thing before the tool's effect, so what is logged here has really been executed.
const registerTool = McpServer.prototype.registerTool;
McpServer.prototype.registerTool = function registerRecordedTool(name, config, callback) {
  return registerTool.call(this, name, config, (...callbackArguments) => {
    const extra = callbackArguments.at(-1); // the only argument when the tool has no input schema
    appendFileSync(callLog, `${JSON.stringify({ tool: name, session: extra.sessionId ?? null })}\n`);
    return callback(...callbackArguments);
  });
};
