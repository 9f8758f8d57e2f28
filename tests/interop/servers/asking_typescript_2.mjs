// The TypeScript SDK v2 as a server whose tools ask for more before they do anything (2026-07-28): first for a room, then
// for nothing but its state. It writes every round into a log, with the state that came with it and the one that it gave.

import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, acceptedContent, createMcpHandler, inputRequired } from '@modelcontextprotocol/server';
import { z } from 'zod';

// What somebody could lose who writes it anew.
const ODD = '{"é":"\\/\u{1f600}"}  %41';

const room = z.object({ room: z.string() });
const question = inputRequired.elicit({ message: 'Which room?', requestedSchema: room });

function run(tool, message, { mcpReq: { inputResponses, requestState } }) {
  const state = requestState() ?? null;
  const chosen = acceptedContent(inputResponses, 'room', room)?.room ?? null;
  const next = { null: `asked ${ODD}`, [`asked ${ODD}`]: `answered ${chosen} ${ODD}` }[state] ?? null;
  const line = { tool, message, state, room: chosen, others: Object.keys(inputResponses ?? {}), next };
  appendFileSync(process.env.CALL_LOG, `${JSON.stringify(line)}\n`);
  if (state === null) return inputRequired({ inputRequests: { room: question }, requestState: next });
  if (next !== null) return inputRequired({ requestState: next });
  return { content: [{ type: 'text', text: `${message}: ${state}` }] };
}

const handler = createMcpHandler(() => {
  const server = new McpServer({ name: 'asking', version: '1.0.0' });
  for (const tool of ['book', 'sign']) {
    const inputSchema = z.object({ message: z.string() });
    server.registerTool(tool, { description: `Does ${tool}`, inputSchema }, ({ message }, context) =>
      run(tool, message, context),
    );
  }
  return server;
});
const listener = createServer(toNodeHandler(handler));
listener.listen(0, '127.0.0.1', () => console.error(`listening on http://127.0.0.1:${listener.address().port}/mcp`));
