// What both TypeScript clients do once their client object exists. Usage and output: see README.md.

import { createInterface } from 'node:readline';

const report = (line) => console.log(JSON.stringify(line));

const modes = process.env.ELICITATION?.split(' ');
/** What the client declares that it can be asked. */
export const capabilities = modes ? { elicitation: Object.fromEntries(modes.map((mode) => [mode, {}])) } : {};

/** What every request has besides: the token that the environment gives. */
export const requestInit = process.env.TOKEN ? { headers: { authorization: `Bearer ${process.env.TOKEN}` } } : {};

// What is left to answer during the call that is being made.
let answers = [];

/** Answers whatever the client is asked. */
export function elicited({ params }) {
  report({ event: 'elicited', params });
  return answers.shift();
}

/** `callTool` takes a call and the options of the SDK. */
export async function runSession(client, transport, negotiatedVersion, callTool) {
  await client.connect(transport);
  report({ event: 'connected', protocol: negotiatedVersion() });

  const { tools } = await client.listTools();
  report({ event: 'tools', names: tools.map((tool) => tool.name) });

  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for await (const line of lines) {
    try {
      const { answers: given = [], abort, ...call } = JSON.parse(line);
      answers = given;
      const controller = new AbortController();
      if (abort) lines.next().then(() => controller.abort());
      const result = await callTool(call, { signal: controller.signal });
      const text = result.content.map((block) => block.text).join('\n');
      report({ event: 'result', isError: result.isError ?? false, text, meta: result._meta ?? {} });
    } catch (error) {
      report({ event: 'error', text: String(error), code: error.code, elicitations: error.elicitations });
    }
  }

  await transport.terminateSession?.(); // where the transport has sessions
  await client.close();
}
