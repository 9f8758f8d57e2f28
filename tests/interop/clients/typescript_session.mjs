// What both TypeScript clients do once their client object exists. Usage and output: see README.md.

import { createInterface } from 'node:readline';

const report = (line) => console.log(JSON.stringify(line));

export async function runSession(client, transport, negotiatedVersion) {
  await client.connect(transport);
  report({ event: 'connected', protocol: negotiatedVersion() });

  const { tools } = await client.listTools();
  report({ event: 'tools', names: tools.map((tool) => tool.name) });

  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const result = await client.callTool(JSON.parse(line));
      const text = result.content.map((block) => block.text).join('\n');
      report({ event: 'result', isError: result.isError ?? false, text, meta: result._meta ?? {} });
    } catch (error) {
      report({ event: 'error', text: String(error) });
    }
  }

  await transport.terminateSession?.(); // where the transport has sessions
  await client.close();
}
