//! What resources hold.

use rmcp::ErrorData;
use rmcp::model::{ReadResourceResponse, ReadResourceResult};
use serde_json::json;

use crate::content::{PNG, wire};

pub(crate) fn read(uri: &str) -> Result<ReadResourceResponse, ErrorData> {
    let mut content = match uri {
        "test://static-text" => json!({
            "mimeType": "text/plain",
            "text": "This is the content of the static text resource.",
        }),
        "test://static-binary" => json!({ "mimeType": "image/png", "blob": PNG }),
        "test://watched-resource" => json!({ "mimeType": "text/plain", "text": "Nothing new." }),
        _ => {
            let Some(id) = id_of_template(uri) else {
                let data = json!({ "uri": uri });
                return Err(ErrorData::resource_not_found(
                    "Resource not found",
                    Some(data),
                ));
            };
            let text = json!({
                "id": id,
                "templateTest": true,
                "data": format!("Data for ID: {id}"),
            });
            json!({ "mimeType": "application/json", "text": text.to_string() })
        }
    };
    if let Some(content) = content.as_object_mut() {
        content.insert("uri".to_owned(), uri.into());
    }
    let result: ReadResourceResult =
        wire(json!({ "resultType": "complete", "contents": [content] }))?;
    Ok(result.into())
}

fn id_of_template(uri: &str) -> Option<&str> {
    let id = uri
        .strip_prefix("test://template/")?
        .strip_suffix("/data")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}
