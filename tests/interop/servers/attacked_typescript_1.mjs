// The TypeScript SDK v1 as a server without sessions. What it executes it writes into a log, one line for each.

import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { McpServer, ResourceTemplate } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { offerEverything } from './attacked_tools.mjs';

const record = (name) => appendFileSync(process.env.CALL_LOG, `${name}\n`);

const listener = createServer(async (request, response) => {
  const server = new McpServer({ name: 'attacked', version: '1.0.0' });
  offerEverything(server, ResourceTemplate, record);
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  response.on('close', () => server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response);
});
listener.listen(0, '127.0.0.1', () => console.error(`listening on http://127.0.0.1:${listener.address().port}/mcp`));
