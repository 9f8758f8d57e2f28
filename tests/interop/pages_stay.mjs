// node tests/interop/pages_stay.mjs: what is under the pointer of an operator does not
// become another request because one above it was taken back. As much of a DOM as show() needs.
import fs from "node:fs";
class El { constructor(key, version){this.dataset={key,version,live:"approvals"};this.children=[];this.parent=null;}
 remove(){const c=this.parent.children;c.splice(c.indexOf(this),1);this.parent=null;}
 insertBefore(n,p){ if(n.parent) n.remove(); const i=p?this.children.indexOf(p):this.children.length; this.children.splice(i,0,n); n.parent=this;}
 get firstElementChild(){return this.children[0]??null;}
 get nextElementSibling(){const c=this.parent.children;return c[c.indexOf(this)+1]??null;}
 querySelectorAll(){return [];} }
const page=(...ks)=>{const e=new El();for(const k of ks)e.insertBefore(new El(k,"pending"),null);return e;};
const live=page("title","harmless","dangerous");
globalThis.document={querySelector:s=>s==="[data-live]"?live:{}};
globalThis.EventSource=class{};
const src=fs.readFileSync("examples/proxy/assets/console.js","utf8").replace('"use strict";','');
new Function(src+"\nglobalThis.show=show;")();
const before=live.children[1].dataset.key;
show(page("title","dangerous"));
if (live.children[1]?.dataset.key !== before) {
  console.error(`"Approve" of ${before} has become that of ${live.children[1].dataset.key}`);
  process.exit(1);
}
