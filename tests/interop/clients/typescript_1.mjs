// The TypeScript SDK v1 as a client. Usage and output: see README.md.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { runSession } from './typescript_session.mjs';

const [url, mode] = process.argv.slice(2);
if (mode !== 'legacy') throw new Error(`unknown mode ${mode}`);

const client = new Client({ name: 'interop-typescript-1', version: '1.0.0' });
const transport = new StreamableHTTPClientTransport(new URL(url));
await runSession(client, transport, () => transport.protocolVersion);
