// The TypeScript SDK v1 as a client that only lists tools. Usage and output: see README.md.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { listInEverySession } from './typescript_lists.mjs';

await listInEverySession((info) => new Client(info), (url) => new StreamableHTTPClientTransport(url));
