// The tools of the stories on the TypeScript SDK v1, which takes arguments of exactly their types, and drops those that
// it does not know. What it executes it writes into a log, as it understood it.

import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { z } from 'zod';

const text = z.string();
const texts = z.array(z.string());

const TOOLS = {
  git_status: {},
  git_reset: { mode: text.default('mixed') },
  git_push: { branch: text.default('main'), remote: text.default('origin'), force: z.boolean().default(false) },
  list_executions: { namespace: text.default('') },
  execute_flow: { namespace: text.default('prod'), flow_id: text, inputs: z.record(text, z.unknown()).optional() },
  restart_execution: { execution_id: text },
  manage_executions: { action: text.default('kill'), execution_id: text },
  manage_flow: { action: text, namespace: text.default('prod'), flow_id: text },
  manage_kv_store: { action: text, namespace: text, key: text.default(''), value: z.unknown().optional() },
  namespace_file_action: { action: text.default('delete'), namespace: text, path: text },
  manage_group: { action: text, id_: text.default(''), role: text.default('') },
  get_payment: { payment_id: text },
  refund_payment: { payment_id: text, amount: z.number().default(1000000), currency: text.default('EUR') },
  fetch: { url: text, max_length: z.number().int().default(5000) },
  http_request: { url: text, method: text.default('GET'), body: text.optional() },
  run_command: { command: text },
  run_program: { program: text, arguments: texts },
  read_text_file: { path: text },
  read_multiple_files: { paths: texts },
  list_directory: { path: text },
  send_email: { subject: text, body: text, to: z.union([texts, text]).default('all@example.com'), bcc: z.union([texts, text]).nullish() },
  complete: { prompt: text, model: text.default('large'), max_tokens: z.number().int().nullish() },
  search_issues: { query: text },
  close_issue: { project: text, id: z.number().int() },
  delete_issue: { id: z.number().int() },
  admin: {},
};

const DISPATCHERS = {
  call_tool: { tool_name: text, parameters: z.union([z.record(text, z.unknown()), text]).optional() },
  call_tools: { calls: z.array(z.object({ name: text, arguments: z.record(text, z.unknown()).optional() })) },
};

function run(tool, given) {
  const known = tool in DISPATCHERS ? DISPATCHERS : TOOLS;
  const values = z.object(known[tool]).parse(typeof given === 'string' ? JSON.parse(given) : (given ?? {}));
  if (tool === 'call_tool') run(values.tool_name, values.parameters);
  else if (tool === 'call_tools') values.calls.forEach((call) => run(call.name, call.arguments));
  else appendFileSync(process.env.CALL_LOG, `${JSON.stringify({ tool, arguments: values })}\n`);
}

const listener = createServer(async (request, response) => {
  const server = new McpServer({ name: 'stories', version: '1.0.0' });
  for (const [tool, inputSchema] of Object.entries({ ...TOOLS, ...DISPATCHERS })) {
    server.registerTool(tool, { description: `Does ${tool}`, inputSchema }, (values) => {
      run(tool, values);
      return { content: [{ type: 'text', text: `${tool} has run` }] };
    });
  }
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  response.on('close', () => server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response);
});
listener.listen(0, '127.0.0.1', () => console.error(`listening on http://127.0.0.1:${listener.address().port}/mcp`));
