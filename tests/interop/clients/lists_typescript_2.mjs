// The TypeScript SDK v2 as a client that only lists tools. Usage and output: see README.md.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { listInEverySession } from './typescript_lists.mjs';

await listInEverySession((info) => new Client(info), (url) => new StreamableHTTPClientTransport(url));
