// The TypeScript SDK v2 as a client. Usage and output: see README.md.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { runSession } from './typescript_session.mjs';

const [url, mode] = process.argv.slice(2);
if (!['auto', 'legacy'].includes(mode)) throw new Error(`unknown mode ${mode}`);

const client = new Client({ name: 'interop-typescript-2', version: '1.0.0' }, { versionNegotiation: { mode } });
const transport = new StreamableHTTPClientTransport(new URL(url));
await runSession(client, transport, () => client.getNegotiatedProtocolVersion());
