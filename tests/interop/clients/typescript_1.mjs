// The TypeScript SDK v1 as a client. Usage and output: see README.md.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { capabilities, elicited, requestInit, runSession } from './typescript_session.mjs';

const [server, mode, command, ...args] = process.argv.slice(2);
if (!['legacy', 'sse'].includes(mode)) throw new Error(`unknown mode ${mode}`);

function transportToServer() {
  if (server === 'stdio') return new StdioClientTransport({ command, args });
  if (mode === 'sse') return new SSEClientTransport(new URL(server));
  return new StreamableHTTPClientTransport(new URL(server), { requestInit });
}

const client = new Client({ name: 'interop-typescript-1', version: '1.0.0' }, { capabilities });
if (capabilities.elicitation) client.setRequestHandler(ElicitRequestSchema, elicited);
const transport = transportToServer();

// The client tells the transport which version was negotiated, and nobody else.
let negotiated;
const setProtocolVersion = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (version) => {
  negotiated = version;
  setProtocolVersion?.(version);
};
const callTool = (call, options) => client.callTool(call, undefined, options);
await runSession(client, transport, () => negotiated, callTool);
