// What both TypeScript servers under attack offer.

export function offerEverything(server, ResourceTemplate, record) {
  for (const name of ['safe', 'danger', 'hidden', 'call_tool']) {
    server.registerTool(name, { description: `Does ${name}` }, () => {
      record(name);
      return { content: [{ type: 'text', text: `${name} has run` }] };
    });
  }
  for (const name of ['greet', 'secret']) {
    server.registerPrompt(name, { description: `Says ${name}` }, () => {
      record(`prompt ${name}`);
      return { messages: [{ role: 'user', content: { type: 'text', text: name } }] };
    });
  }
  server.registerResource('files', new ResourceTemplate('file:///{+path}', { list: undefined }), {}, (uri) => {
    record(`resource ${uri}`);
    return { contents: [{ uri: String(uri), text: 'text' }] };
  });
}
