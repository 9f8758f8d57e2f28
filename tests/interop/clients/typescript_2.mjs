// The TypeScript SDK v2 as a client. Usage and output: see README.md.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { capabilities, elicited, requestInit, runSession } from './typescript_session.mjs';

const [server, mode, command, ...args] = process.argv.slice(2);
if (!['auto', 'legacy', 'sse'].includes(mode)) throw new Error(`unknown mode ${mode}`);

function transportToServer() {
  if (server === 'stdio') return new StdioClientTransport({ command, args });
  if (mode === 'sse') return new SSEClientTransport(new URL(server));
  return new StreamableHTTPClientTransport(new URL(server), { requestInit });
}

const versionNegotiation = { mode: mode === 'sse' ? 'legacy' : mode };
const pinned = process.env.PROTOCOL;
const options = { capabilities, versionNegotiation, ...(pinned && { supportedProtocolVersions: [pinned] }) };
const client = new Client({ name: 'interop-typescript-2', version: '1.0.0' }, options);
if (capabilities.elicitation) client.setRequestHandler('elicitation/create', elicited);
const transport = transportToServer();
const callTool = (call, options) => client.callTool(call, options);
await runSession(client, transport, () => client.getNegotiatedProtocolVersion(), callTool);
