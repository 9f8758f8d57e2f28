// What both TypeScript clients that only list tools do. Usage and output: see README.md.

const [url, count, milliseconds] = process.argv.slice(2);

async function listOnce(index, createClient, createTransport) {
  const client = createClient({ name: `session-${index}`, version: '1.0.0' });
  client.onerror = () => {};
  await client.connect(createTransport(new URL(url)));
  try {
    const { tools } = await client.listTools({}, { timeout: Number(milliseconds) });
    return { session: index, names: tools.map((tool) => tool.name) };
  } catch (error) {
    return { session: index, error: String(error) };
  } finally {
    await client.close();
  }
}

export async function listInEverySession(createClient, createTransport) {
  const lines = [];
  let next = 0;
  // With all sessions at once, none would be done in time.
  const takeTurns = async () => {
    while (next < Number(count)) lines.push(await listOnce(next++, createClient, createTransport));
  };
  await Promise.all(Array.from({ length: 16 }, takeTurns));
  for (const line of lines) console.log(JSON.stringify(line));
}

// What a session reads after its list was refused is nobody's business here.
process.on('unhandledRejection', () => {});
