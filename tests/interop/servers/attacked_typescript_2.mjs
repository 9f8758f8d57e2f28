// The TypeScript SDK v2 as a server of both eras. What it executes it writes into a log, one line for each.

import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, ResourceTemplate, createMcpHandler } from '@modelcontextprotocol/server';
import { offerEverything } from './attacked_tools.mjs';

const record = (name) => appendFileSync(process.env.CALL_LOG, `${name}\n`);

const handler = createMcpHandler(() => {
  const server = new McpServer({ name: 'attacked', version: '1.0.0' });
  offerEverything(server, ResourceTemplate, record);
  return server;
});
const listener = createServer(toNodeHandler(handler));
listener.listen(0, '127.0.0.1', () => console.error(`listening on http://127.0.0.1:${listener.address().port}/mcp`));
