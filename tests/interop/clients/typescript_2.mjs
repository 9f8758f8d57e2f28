// The TypeScript SDK v2 as a client. Usage and output: see README.md.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { runSession } from './typescript_session.mjs';

const [server, mode, command, ...args] = process.argv.slice(2);
if (!['auto', 'legacy'].includes(mode)) throw new Error(`unknown mode ${mode}`);

const client = new Client({ name: 'interop-typescript-2', version: '1.0.0' }, { versionNegotiation: { mode } });
const transport =
  server === 'stdio'
    ? new StdioClientTransport({ command, args })
    : new StreamableHTTPClientTransport(new URL(server));
await runSession(client, transport, () => client.getNegotiatedProtocolVersion());
